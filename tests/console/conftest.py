from tests.loyalty.conftest import account, changes, customers, order, other_account

__all__ = ["account", "changes", "customers", "order", "other_account"]
