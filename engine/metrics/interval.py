"""How far an accuracy may be from that on all pictures of the same kind."""

CONFIDENCE = 0.95


def interval(right: int, pictures: int) -> tuple[float, float]:
    """Return the interval of an accuracy of `right` out of `pictures`, as fractions.

    It is Wilson's score interval, which is none of width 0 when all pictures are right, as a bootstrap's would be.
    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    from scipy.stats import binomtest

    low, high = binomtest(int(right), int(pictures)).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)
