"""A page of this machine on which papers can be tried. Papers say in their ``touch.py`` what; gradio draws it."""
