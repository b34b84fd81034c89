"""What is a tunnel, what is sanctioned and what to block: pure functions over values."""

from rules.compiled import choose_form

choose_form()
