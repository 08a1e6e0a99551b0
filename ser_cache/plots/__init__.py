"""Figures, and the one door to matplotlib, which is an extra: it is imported when something is drawn.

Figures are drawn on canvases of their own, never through pyplot, so nothing here opens a window or changes
what the caller's own plots look like. All can be read without colour: groups differ in shape, lines in
dashes, areas in hatching, and what they are is written beside them.
"""

from ser_cache.plots.canvas import FORMATS, check_plot
from ser_cache.plots.clusters import draw_clustering, draw_layer_agreement
from ser_cache.plots.confusion import draw_confusion
from ser_cache.plots.layers import draw_layers

__all__ = [
    "FORMATS",
    "check_plot",
    "draw_clustering",
    "draw_confusion",
    "draw_layer_agreement",
    "draw_layers",
]
