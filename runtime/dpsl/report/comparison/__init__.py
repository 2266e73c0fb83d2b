"""The page of a grid: its folder in, variants side by side out.

    grid folder ─read→ GridRecord ─numbers→ what is compared ─figures, parts→ page

`read` alone touches the folder; cells are read as runs are, by `dpsl.report.read`.
"""
