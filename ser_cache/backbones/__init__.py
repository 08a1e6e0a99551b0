"""Frozen speech models as feature extractors: the only package that imports transformers.

``registry`` names the known models and ``outline`` says how many frames a clip gives; neither imports torch.
``loading`` turns a name into an extractor.
"""
