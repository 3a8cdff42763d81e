"""What no text may ask for, whatever a recipe says: sexual content involving minors. The check has no switch.

`refusal` reads one text, `refusal_of_row` the fields of one row together. What they cannot see is listed
in docs/safety.md. This package imports nothing of the project, so that every other may use it.
"""

from __future__ import annotations

from datagen.safety.rules import MINORS, length_refusal, refusal, refusal_of_row

__all__ = ["MINORS", "length_refusal", "refusal", "refusal_of_row"]
