"""URLs: everything is the admin."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from masivo_braze.console.navigation import home

admin.site.index_title = "Loyalty records and their sync"

urlpatterns = [
    path("admin/", admin.site.admin_view(home)),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
