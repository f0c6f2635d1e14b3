"""The documentation's site: ``sphinx-build -W -n --keep-going docs site`` (extra ``[docs]``). Strict: a warning is an error."""

from importlib import metadata

from sphinx.util.inspect import TypeAliasForwardRef

project = "lgin-edge"
author = "The lgin-edge developers"
copyright = f"{author}, Apache-2.0"
version = release = metadata.version("lgin-edge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Anchors as GitHub makes them, so that a link works in both places and a wrong one is an error.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"  # beside what the docstrings say, with shapes and units
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {
    name: name for name in ("Frame", "Color", "Source", "ImageT", "Float64", "ArrayLike", "npt.ArrayLike")
}
TypeAliasForwardRef.__repr__ = lambda self: self.name.rpartition(".")[2]  # which Sphinx would show within a union
python_use_unqualified_type_names = True
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Furo asks nobody else for anything: no fonts, scripts or trackers (tests/docs/test_docs_site.py looks).
html_theme = "furo"
html_title = f"lgin-edge {release}"
html_show_sourcelink = False
html_copy_source = False
