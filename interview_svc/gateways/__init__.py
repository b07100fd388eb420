"""payment, as interview sees it: whom to ask about access codes. Queries only."""
