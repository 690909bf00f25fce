from masivo_braze.loyalty.models import Account, Customer


class Clock:
    """Time passes only where somebody works or stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.stood: list[float] = []

    def work(self, seconds: float) -> None:
        self.now += seconds

    def stand_still(self, seconds: float) -> None:
        self.now += seconds
        if seconds > 1e-9:
            self.stood.append(seconds)

    def have_stood(self) -> float:
        """For how long, since this was last asked."""
        stood, self.stood = round(sum(self.stood), 6), []
        return stood


def people(account: Account, number: int = 1) -> None:
    for each in range(number):
        Customer.objects.create(account=account, external_id=f"{account.slug}-{each}", first_name="Ada")
