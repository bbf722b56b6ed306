"""What options are called elsewhere: in Keras, optax, scikit-learn, PyTorch's utilities, and papers."""

_GROUPS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("learning_rate", "learning_rate_init", "step_size", "stepsize", "eta", "eta0", "schedule"): ("lr",),
    ("alpha",): ("rho", "lr"),
    ("rho",): ("alpha",),
    ("decay",): ("alpha", "rho", "lr_decay", "weight_decay"),
    ("weight_decay_rate", "wd", "l2"): ("weight_decay",),
    ("epsilon",): ("eps",),
    ("beta", "beta1", "beta_1", "b1"): ("betas", "momentum"),
    ("beta2", "beta_2", "b2", "beta3", "beta_3", "b3"): ("betas", "alpha", "rho"),
    ("momentum",): ("betas",),
    ("mu",): ("momentum",),
    ("nesterovs_momentum",): ("nesterov",),
    ("clipnorm", "clip_norm", "global_clipnorm", "max_norm", "max_grad_norm"): ("clip_grad_norm",),
    ("clipvalue", "clip_value"): ("clip_grad_value",),
    ("ema_momentum",): ("ema_decay",),
    ("gradient_accumulation_steps",): ("accumulate",),
}
# The options that each may stand for; of these a rule has some, or none.
SYNONYMS = {name: options for names, options in _GROUPS.items() for name in names}
# What is not the same all the same.
REMARKS = {"clipnorm": ", which takes all gradients together"}
