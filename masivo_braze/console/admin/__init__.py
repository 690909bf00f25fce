"""The pages of Masivo's records, and of the people who use this console."""

from masivo_braze.console.admin import people, records

__all__ = ["people", "records"]
