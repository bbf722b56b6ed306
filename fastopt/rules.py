"""The rules, from simple to complex: each its formula, its options, its state and its scalars.

The arithmetic of a rule is in its kernel: `fastopt.reference` has it in NumPy. In all formulas ``p`` is the
parameter, ``g`` its gradient, ``t`` its step count (1 at its first update), and everything is elementwise.
"""

from fastopt import options
from fastopt.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    Batch, mini-batch and stochastic gradient descent are this rule on different gradients::

        d = s*g + l2*p
        p = keep*p - update

    Without momentum ``update = lr*d``. With it, ``mu = momentum`` and the state ``momentum_buffer`` (``b``, from
    zero) give, by `momentum_form`::

        "torch"      b = mu*b + (1-dampening)*d      update = lr*b    nesterov: lr*(d + mu*b)
                     first step: b = d
        "velocity"   b = mu*b + lr*d                 update = b       nesterov: mu*b + lr*d
        "ema"        b = mu*b + (1-mu)*d             update = lr*b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    momentum : float, default 0
        Not negative; smaller than 1 with ``"ema"``.
    dampening : float, default 0
        Not negative; 0 unless ``"torch"`` without `nesterov`.
    nesterov : bool, default False
        Needs momentum, and a form other than ``"ema"``.
    weight_decay : float, default 0
    {decay}
    momentum_form : {"torch", "velocity", "ema"}, default "torch"
        ``"torch"`` is PyTorch's. ``"velocity"`` is that of most course notes, Keras and scikit-learn; it differs
        once the learning rate changes. ``"ema"`` is an exponentially weighted average of gradients.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Computational
       Mathematics and Mathematical Physics 4(5), 1964.
    .. [2] Y. Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", Soviet
       Mathematics Doklady 27(2), 1983.
    .. [3] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
       learning", ICML 2013.
    """

    checks = {
        "momentum": options.number,
        "dampening": options.number,
        "nesterov": options.flag,
        "momentum_form": options.choice("torch", "velocity", "ema"),
    }

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        nesterov=False,
        weight_decay=0,
        *,
        momentum_form="torch",
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def check(o):
        if o["nesterov"]:
            if o["momentum"] == 0:
                raise ValueError("nesterov: it needs momentum, which is 0")
            if o["momentum_form"] == "ema":
                raise ValueError("nesterov: it is not defined for momentum_form 'ema'; use 'torch' or 'velocity'")
            if o["dampening"] != 0:
                raise ValueError(f"dampening: nesterov needs it to be 0, found {o['dampening']!r}")
        if o["momentum_form"] != "torch" and o["dampening"] != 0:
            raise ValueError(f"dampening: only momentum_form 'torch' has it, found {o['dampening']!r}")
        if o["momentum_form"] == "ema" and o["momentum"] >= 1:
            raise ValueError(f"momentum: momentum_form 'ema' needs it in [0, 1), found {o['momentum']!r}")

    @staticmethod
    def states(o):
        return {"momentum_buffer": 0.0} if o["momentum"] else {}

    @staticmethod
    def kernel(o):
        if not o["momentum"]:
            return "sgd"
        return "sgd_nesterov" if o["nesterov"] else "sgd_momentum"

    @staticmethod
    def scalars(o):
        mu, dampening = o["momentum"], o["dampening"]
        if mu == 0:
            return ("lr",)
        # gain of the gradient into the buffer, carry of the buffer to the next step, rate of the buffer into the update
        nesterov = (mu,) if o["nesterov"] else ()
        if o["momentum_form"] == "velocity":
            return ("lr", mu, 1.0, *nesterov)
        if o["momentum_form"] == "ema":
            return (1 - mu, mu, "lr")

        def gain(t, lr):
            return 1.0 if t == 1 else 1 - dampening

        def carry(t, lr):
            return 0.0 if t == 1 else mu

        return (gain if dampening else 1.0, carry, "lr", *nesterov)


class Adagrad(Optimizer):
    """Adagrad: each element's rate falls with the sum of its squared gradients.

    State ``sum``, from `initial_accumulator_value`; ``clr = lr/(1 + (t-1)*lr_decay)``::

        d = s*g + l2*p
        sum = sum + d*d
        p = keep*p - clr*d/(sqrt(sum) + eps)      eps_placement="outside"
        p = keep*p - clr*d/sqrt(sum + eps)        eps_placement="inside"

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-2
    {lr}
    lr_decay : float, default 0
        Not negative.
    weight_decay : float, default 0
    {decay}
    initial_accumulator_value : float, default 0
        Not negative. Keras and optax start from 0.1.
    eps : float, default 1e-10
        Not negative.
    eps_placement : {"outside", "inside"}, default "outside"
        ``"outside"`` the root is PyTorch's, ``"inside"`` that of course notes, Keras and optax.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic
       optimization", JMLR 12, 2011.
    """

    checks = {
        "lr_decay": options.number,
        "initial_accumulator_value": options.number,
        "eps": options.number,
        "eps_placement": options.choice("outside", "inside"),
    }

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        *,
        eps_placement="outside",
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        return {"sum": o["initial_accumulator_value"]}

    @staticmethod
    def kernel(o):
        return "adagrad"

    @staticmethod
    def scalars(o):
        lr_decay = o["lr_decay"]

        def clr(t, lr):
            return lr / (1 + (t - 1) * lr_decay)

        return (clr if lr_decay else "lr", *eps_in_and_out(o))


class Adadelta(Optimizer):
    """Adadelta: steps in the parameter's own units, from averages of squared gradients and squared steps.

    State ``square_avg`` (``q``) and ``acc_delta`` (``a``), from zero::

        d = s*g + l2*p
        q = rho*q + (1-rho)*d*d
        x = sqrt(a + eps)/sqrt(q + eps)*d
        a = rho*a + (1-rho)*x*x
        p = keep*p - lr*x

    Parameters
    ----------
    {params}
    lr : float or callable, default 1.0
    {lr}
    rho : float, default 0.9
        In [0, 1).
    eps : float, default 1e-6
        Not negative.
    weight_decay : float, default 0
    {decay}
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] M. D. Zeiler, "ADADELTA: An adaptive learning rate method", arXiv:1212.5701, 2012.
    """

    checks = {"rho": options.fraction, "eps": options.number}

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        *,
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        return {"square_avg": 0.0, "acc_delta": 0.0}

    @staticmethod
    def kernel(o):
        return "adadelta"

    @staticmethod
    def scalars(o):
        rho = o["rho"]
        return ("lr", rho, 1 - rho, o["eps"])


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a moving average of its square.

    State ``square_avg`` (``q``), from zero; when `centered` also ``grad_avg`` (``a``); with momentum also
    ``momentum_buffer`` (``b``)::

        d = s*g + l2*p
        q = alpha*q + (1-alpha)*d*d
        a = alpha*a + (1-alpha)*d
        w = max(q - a*a, 0) when centered, else q
        r = d/(sqrt(w) + eps)      eps_placement="outside"
        r = d/sqrt(w + eps)        eps_placement="inside"
        p = keep*p - update

    Without momentum ``update = lr*r``. With it, by `momentum_form`::

        "torch"      b = momentum*b + r         update = lr*b
        "velocity"   b = momentum*b + lr*r      update = b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-2
    {lr}
    alpha : float, default 0.99
        In [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 0
    {decay}
    momentum : float, default 0
        Not negative.
    centered : bool, default False
        Divide by an estimate of the standard deviation.
    eps_placement : {"outside", "inside"}, default "outside"
        ``"outside"`` the root is PyTorch's and CS231n's, ``"inside"`` that of Ng's course, Keras and optax.
    momentum_form : {"torch", "velocity"}, default "torch"
        ``"velocity"`` is that of Keras and optax.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Lecture 6.5 - rmsprop", Coursera: Neural Networks for Machine Learning, 2012.
    .. [2] A. Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013 (centered).
    """

    checks = {
        "alpha": options.fraction,
        "eps": options.number,
        "momentum": options.number,
        "centered": options.flag,
        "eps_placement": options.choice("outside", "inside"),
        "momentum_form": options.choice("torch", "velocity"),
    }

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        *,
        eps_placement="outside",
        momentum_form="torch",
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        names = ["square_avg"]
        if o["centered"]:
            names.append("grad_avg")
        if o["momentum"]:
            names.append("momentum_buffer")
        return dict.fromkeys(names, 0.0)

    @staticmethod
    def kernel(o):
        return "rmsprop" + ("_centered" if o["centered"] else "") + ("_momentum" if o["momentum"] else "")

    @staticmethod
    def scalars(o):
        # With momentum: gain of r into the buffer, rate of the buffer into the update; last, mu.
        alpha, mu = o["alpha"], o["momentum"]
        averages = (alpha, 1 - alpha, *eps_in_and_out(o))
        if mu == 0:
            return ("lr", *averages)
        if o["momentum_form"] == "velocity":
            return ("lr", 1.0, *averages, mu)
        return (1.0, "lr", *averages, mu)


class Adam(Optimizer):
    """Adam: the mean of gradients divided by the root of the mean of their squares; with AMSGrad as an option.

    State ``exp_avg`` (``m``) and ``exp_avg_sq`` (``v``), from zero; ``c1 = 1 - beta1**t``, ``c2 = 1 - beta2**t``::

        d = s*g + l2*p
        m = beta1*m + (1-beta1)*d
        v = beta2*v + (1-beta2)*d*d
        p = keep*p - (lr/c1)*m/(sqrt(v/c2) + eps)              eps_placement="outside"
        p = keep*p - (lr*sqrt(c2)/c1)*m/(sqrt(v) + eps)        eps_placement="uncorrected"
        p = keep*p - (lr/c1)*m/sqrt(v/c2 + eps)                eps_placement="inside"

    With `amsgrad` the state ``max_exp_avg_sq`` (``h = max(h, v)``) stands for ``v`` in the last line.

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 0
    {decay}
    amsgrad : bool, default False
        Divide by the largest ``v`` so far.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``: the short form of course notes.
    eps_placement : {"outside", "uncorrected", "inside"}, default "outside"
        ``"outside"`` is the paper's main form, PyTorch's and optax's; ``"uncorrected"`` the paper's efficient form,
        that of Keras and scikit-learn; ``"inside"`` is optax's ``eps_root``.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: A method for stochastic optimization", ICLR 2015, arXiv:1412.6980.
    .. [2] S. J. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR 2018 (AMSGrad).
    """

    checks = {
        "betas": options.betas,
        "eps": options.number,
        "amsgrad": options.flag,
        "bias_correction": options.flag,
        "eps_placement": options.choice("outside", "uncorrected", "inside"),
    }

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        bias_correction=True,
        eps_placement="outside",
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        names = ["exp_avg", "exp_avg_sq"]
        if o["amsgrad"]:
            names.append("max_exp_avg_sq")
        return dict.fromkeys(names, 0.0)

    @staticmethod
    def kernel(o):
        return "amsgrad" if o["amsgrad"] else "adam"

    @staticmethod
    def corrected(o):
        return o["betas"] if o["bias_correction"] else (0.0, 0.0)

    @staticmethod
    def scalars(o):
        beta1, beta2 = o["betas"]
        averages = (beta1, 1 - beta1, beta2, 1 - beta2, *eps_in_and_out(o))
        # a and b of the update a*m/(sqrt(v*b + e_in) + e_out), which has all placements of eps as special cases.
        if o["eps_placement"] == "uncorrected":
            return ("lr*sqrt(c2)/c1", 1.0, *averages)
        return ("lr/c1", "1/c2", *averages)


class AdamW(Adam):
    """AdamW: Adam with decoupled weight decay.

    As `Adam`, with ``decoupled_weight_decay=True``: ``l2 = 0`` and ``keep = 1 - lr*weight_decay`` in its formulas::

        p = keep*p - (lr/c1)*m/(sqrt(v/c2) + eps)      eps_placement="outside"

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-8
        Not negative.
    weight_decay : float, default 1e-2
    {decay}
    amsgrad : bool, default False
        Divide by the largest ``v`` so far.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``.
    eps_placement : {"outside", "uncorrected", "inside"}, default "outside"
        As for `Adam`.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        *,
        bias_correction=True,
        eps_placement="outside",
        maximize=False,
        decoupled_weight_decay=True,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))


class LAMB(Optimizer):
    """LAMB: Adam, with the update of each parameter array scaled to the array's own norm; for large batches.

    State ``exp_avg`` (``m``) and ``exp_avg_sq`` (``v``), from zero; ``c1 = 1 - beta1**t``, ``c2 = 1 - beta2**t``;
    norms are those of whole arrays::

        d = s*g + l2*p
        m = beta1*m + (1-beta1)*d
        v = beta2*v + (1-beta2)*d*d
        r = (m/c1)/(sqrt(v/c2) + eps) + decay*p
        trust = norm(p)/norm(r), and 1 where either is 0
        p = keep*p - lr*trust*r

    Parameters
    ----------
    {params}
    lr : float or callable, default 1e-3
    {lr}
    betas : (float, float), default (0.9, 0.999)
        Both in [0, 1).
    eps : float, default 1e-6
        Not negative.
    weight_decay : float, default 0
        Not negative. Decoupled, it is ``decay``, and its share of the update is scaled too. Coupled (L2), it is ``l2``.
        ``keep = 1`` in either case.
    bias_correction : bool, default True
        When False, ``c1 = c2 = 1``.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] Y. You et al., "Large batch optimization for deep learning: Training BERT in 76 minutes", ICLR 2020,
       arXiv:1904.00962.
    """

    checks = {"betas": options.betas, "eps": options.number, "bias_correction": options.flag}

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-6,
        weight_decay=0,
        *,
        bias_correction=True,
        maximize=False,
        decoupled_weight_decay=True,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    @staticmethod
    def kernel(o):
        return "lamb"

    corrected = staticmethod(Adam.corrected)

    @classmethod
    def formula(cls, o):
        # Decoupled decay is a part of the update here, not what is kept of the parameter.
        return super().formula(o)._replace(decay=0.0)

    @staticmethod
    def scalars(o):
        beta1, beta2 = o["betas"]
        decay = o["weight_decay"] if o["decoupled_weight_decay"] else 0.0
        return ("lr", "1/c1", "1/c2", beta1, 1 - beta1, beta2, 1 - beta2, o["eps"], decay, 1.0)


class LARS(Optimizer):
    """LARS: momentum SGD, with the gradient of each parameter array scaled to the array's own norm; for large batches.

    State ``momentum_buffer`` (``b``, from zero), ``mu = momentum``; norms are those of whole arrays::

        d = s*g + l2*p
        trust = trust_coefficient*norm(p)/norm(d), and 1, without the coefficient, where either is 0
        b = mu*b + lr*trust*d
        p = keep*p - b

    Parameters
    ----------
    {params}
    lr : float or callable, default 1.0
    {lr}
    momentum : float, default 0.9
        Not negative.
    weight_decay : float, default 0
    {decay}
    trust_coefficient : float, default 1e-3
        Not negative.
    {common}

    Raises
    ------
    {raises}

    References
    ----------
    .. [1] Y. You, I. Gitman, B. Ginsburg, "Large batch training of convolutional networks", arXiv:1708.03888, 2017.
       There the ratio's denominator is ``norm(g) + weight_decay*norm(p)``; this one is optax's.
    """

    checks = {"momentum": options.number, "trust_coefficient": options.number}

    def __init__(
        self,
        params,
        lr=1.0,
        momentum=0.9,
        weight_decay=0,
        trust_coefficient=1e-3,
        *,
        maximize=False,
        decoupled_weight_decay=False,
        backend=None,
        **stages,
    ):
        super().__init__(**arguments(locals()))

    @staticmethod
    def states(o):
        return {"momentum_buffer": 0.0}

    @staticmethod
    def kernel(o):
        return "lars"

    @staticmethod
    def scalars(o):
        return ("lr", o["momentum"], o["trust_coefficient"])


def arguments(names):
    """The arguments of an ``__init__``, given its local names."""
    stages = names.pop("stages")
    return {name: value for name, value in names.items() if name not in ("self", "__class__")} | stages


def eps_in_and_out(o):
    """eps as the kernels take it: what is added inside the root, and what outside; 0 is exact in either place."""
    return (o["eps"], 0.0) if o["eps_placement"] == "inside" else (0.0, o["eps"])


# The rules by the names that they are known by, with the options that make them so: every kernel is among them.
VARIANTS = {
    "SGD": (SGD, {}),
    "Momentum": (SGD, {"momentum": 0.9}),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "Adagrad": (Adagrad, {}),
    "Adadelta": (Adadelta, {}),
    "RMSprop": (RMSprop, {}),
    "RMSprop, centered": (RMSprop, {"centered": True}),
    "RMSprop, momentum": (RMSprop, {"momentum": 0.9}),
    "RMSprop, centered, momentum": (RMSprop, {"centered": True, "momentum": 0.9}),
    "Adam": (Adam, {}),
    "AMSGrad": (Adam, {"amsgrad": True}),
    "AdamW": (AdamW, {}),
    "LAMB": (LAMB, {}),
    "LARS": (LARS, {}),
}
