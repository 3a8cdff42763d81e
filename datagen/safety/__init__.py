"""What no text may ask for, whatever a recipe says: sexual content involving minors. The check has no switch.

`refusal` reads one text, `refusal_of_row` the fields of one row together. What they cannot see stands in
docs/safety.md. Nothing of the project is imported here, so that every room may use it.
"""

from __future__ import annotations

from datagen.safety.rules import MINORS, length_refusal, refusal, refusal_of_row

__all__ = ["MINORS", "length_refusal", "refusal", "refusal_of_row"]
