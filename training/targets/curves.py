"""How far each sign of age has come at an age in years: 0 at 20, rising; 1 is all that maps and age layers hold.

Shape follows what is written of the face's ageing (bone and fat from the middle thirties, hair of half of the people half
grey at 50, lines from 30 on); the numbers are ours, chosen by looking; skin is as ``ageing`` measures it, linear, 1 after its 40 years.
Beyond 70 all but hair is drawn further than that: with less, viewers took people who were drawn at 80 to be 56.
"""

from __future__ import annotations

import numpy as np

_AGES = (20, 30, 40, 50, 60, 70, 80)
_CURVES = {
    "hair": (0.0, 0.0, 0.08, 0.24, 0.46, 0.75, 1.00),
    "lines": (0.0, 0.04, 0.14, 0.32, 0.60, 0.90, 1.50),
    "shape": (0.0, 0.08, 0.23, 0.45, 0.70, 0.94, 1.50),
    "skin": (0.0, 0.02, 0.20, 0.45, 0.70, 0.95, 1.60),
}


def at(sign: str, years: float) -> float:
    return float(np.interp(years, _AGES, _CURVES[sign]))


def older(sign: str, present: float, wanted: float) -> float:
    """Share of the whole way from 20 to 80 that lies between two ages; 0 where nothing is asked for."""
    return max(0.0, at(sign, wanted) - at(sign, present))


def still_to_come(sign: str, present: float, wanted: float) -> float:
    """Share of what has not come yet at ``present`` that has come at ``wanted``: of the strands that are still dark, those that are grey."""
    return older(sign, present, wanted) / max(1e-3, 1 - at(sign, present))


def younger(sign: str, present: float, wanted: float) -> float:
    """Share of a face's own signs of age that is taken away: all of them at 20."""
    own = at(sign, present)
    return min(1.0, max(0.0, (own - at(sign, wanted)) / own)) if own > 0.02 else 0.0


def undone(present: float, wanted: float) -> float:
    """Share of all that a face can lose of its age that is gone at a younger age: its lines, and the grey of its hair."""
    return younger("lines", present, wanted) * share_of_age(present)


def share_of_age(present: float) -> float:
    """How much of what a face's skin has beyond mean young skin is age: at 30 it is freckles and moles, and stays."""
    return min(1.0, at("lines", present) / 0.2)
