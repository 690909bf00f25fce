"""Which users are in a request that has taken effect but is not answered yet: a second one at that time is noticed."""

from integrations.braze.sandbox.messages import Response


class InFlight:
    def __init__(self) -> None:
        self._users: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._users)

    def begin(self, response: Response) -> int:
        """How many of the response's users are in an unanswered request; remembers them if this one is late too."""
        users = response.users or ()
        overlaps = sum(user in self._users for user in users)
        if response.delay or response.drip or response.manner == "hang":
            for user in users:
                self._users[user] = self._users.get(user, 0) + 1
        return overlaps

    def end(self, response: Response) -> None:
        """The late response has left, or its connection is gone."""
        for user in response.users or ():
            left = self._users.pop(user, 1) - 1
            if left > 0:
                self._users[user] = left
