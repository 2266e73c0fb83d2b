"""A prior table → what it asks for, drawn.

    table ─selection, view→ View ─figures→ drawings ─page→ HTML or PNG

`selection` reads which cells are meant, `view` gathers the distinct priors and their numbers, each figure is a pure
function of a View, and `page` puts them together.
"""
