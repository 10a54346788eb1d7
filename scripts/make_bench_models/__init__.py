"""Makes models of the true shape with random weights: what they cost is real, what they say is fixed beforehand.

Cost does not depend on the values of weights, so a machine that reaches no model hub can be measured with these.
"""
