"""Lion."""

from fastopt import options
from fastopt.formula import sign
from fastopt.optimizer import Optimizer, arguments


def lion(d, m, *, lr, beta1, beta2):
    u = sign(beta1 * m + (1 - beta1) * d)
    m[:] = beta2 * m + (1 - beta2) * d
    return lr * u


class Lion(Optimizer):
    """Lion: steps of one size, in the direction of the sign of a momentum.

    State ``exp_avg`` (``m``), from zero::

        d = s*g + l2*p
        u = sign(beta1*m + (1-beta1)*d)
        m = beta2*m + (1-beta2)*d
        p = keep*p - lr*u

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-4
    {lr}
    betas : (float, float), default (0.9, 0.99)
        Both in [0, 1).
    weight_decay : float, default 0
    {decay}
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, arXiv:2302.06675.
    """

    formula = lion
    states = {"m": "exp_avg"}
    checks = {"betas": options.betas(2)}
    inputs = staticmethod(options.each_beta)

    def __init__(
        self,
        params,
        lr=1e-4,
        *,
        betas=(0.9, 0.99),
        weight_decay=0,
        maximize=False,
        decoupled_weight_decay=True,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))
