"""The button on a customer's page that sends everything about them again."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from integrations.braze.admin.beside import may_resend
from integrations.braze.recovery import resend
from masivo_braze.console import history
from masivo_braze.console.scoping import within
from masivo_braze.loyalty.models import Customer


def resend_view(request: HttpRequest, customer_id: int) -> HttpResponse:
    customer = get_object_or_404(within(Customer.objects.select_related("account"), request.user), pk=customer_id)
    if not may_resend(request):
        raise PermissionDenied
    if number := resend.resend(customer):
        history.note(request, customer, "Resent everything for this customer")
        words = "1 change was captured and is" if number == 1 else f"{number:,} changes were captured and are"
        messages.success(request, f"{words} being sent, whatever Braze was believed to have.")
    else:
        messages.warning(request, "Nothing was captured: nothing of this customer's state is synced by the toggles.")
    return redirect("admin:loyalty_customer_change", customer_id)
