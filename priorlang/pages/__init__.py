"""What every page and figure of the project is made of: one look for previews and reports.

`figure` draws as SVG that takes its ink from the page, `picture` stacks drawings into a PNG, `heat` is the heat map
of loads, `html` the pieces of a page, `drawings` takes a page's figures out of it. matplotlib is imported when something is drawn.
"""
