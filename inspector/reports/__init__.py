"""Reports for people: one self-contained HTML file each, readable offline and fit to be mailed.

Knows nothing of torch, SQL or brokers: it is given figures and pictures and lays them out. `page` is the
shell and its style, `charts` the curves as inline SVG, `pictures` images as data URIs; each report is a
module of its own with its template in `templates/`.
"""
