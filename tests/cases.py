"""The rules with their options: the one table that the bitwise, golden, state and bad-input tests go through."""

from fastopt import LAMB, LARS, SGD, Adadelta, Adagrad, Adam, AdamW, Adan, Lion, RMSprop


def falling(n):
    """A learning rate that changes at every update: only then do some momentum forms differ."""
    return 0.1 / (1 + 0.5 * n)


# Each with a decay, coupled or decoupled, ascending or descending, somewhere.
CASES = {
    "sgd": (SGD, {"lr": 0.1}),
    "sgd-l2": (SGD, {"lr": 0.1, "weight_decay": 0.05}),
    "sgd-decoupled": (SGD, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    "sgd-maximize": (SGD, {"lr": 0.1, "maximize": True, "weight_decay": 0.05}),
    "sgd-falling": (SGD, {"lr": falling}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "momentum-dampening": (SGD, {"lr": falling, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    "momentum-velocity": (SGD, {"lr": falling, "momentum": 0.9, "momentum_form": "velocity"}),
    "momentum-ema": (SGD, {"lr": falling, "momentum": 0.9, "momentum_form": "ema"}),
    "momentum-decoupled": (
        SGD,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True},
    ),
    "nesterov": (SGD, {"lr": falling, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "nesterov-velocity": (SGD, {"lr": falling, "momentum": 0.9, "nesterov": True, "momentum_form": "velocity"}),
    "nesterov-decoupled": (
        SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05, "decoupled_weight_decay": True},
    ),
    "nesterov-maximize": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05, "maximize": True}),
    "adagrad": (Adagrad, {}),
    "adagrad-options": (
        Adagrad,
        {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.05, "initial_accumulator_value": 0.3, "eps": 1e-3},
    ),
    "adagrad-inside": (
        Adagrad,
        {"lr": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-2, "eps_placement": "inside"},
    ),
    "adagrad-decoupled": (
        Adagrad,
        {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True},
    ),
    "adadelta": (Adadelta, {}),
    "adadelta-options": (Adadelta, {"lr": falling, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    "adadelta-decoupled": (Adadelta, {"lr": 0.5, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    "rmsprop": (RMSprop, {}),
    "rmsprop-options": (
        RMSprop,
        {"lr": falling, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    ),
    "rmsprop-inside": (RMSprop, {"lr": falling, "alpha": 0.9, "eps": 1e-2, "eps_placement": "inside"}),
    "rmsprop-initial": (RMSprop, {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "initial_accumulator_value": 0.3}),
    "rmsprop-decoupled": (RMSprop, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    "rmsprop-centered": (RMSprop, {"lr": 0.1, "alpha": 0.9, "centered": True, "weight_decay": 0.05}),
    "rmsprop-centered-inside": (
        RMSprop,
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-2, "centered": True, "eps_placement": "inside"},
    ),
    "rmsprop-centered-decoupled": (
        RMSprop,
        {
            "lr": 0.1,
            "alpha": 0.9,
            "centered": True,
            "weight_decay": 0.05,
            "decoupled_weight_decay": True,
            "maximize": True,
        },
    ),
    "rmsprop-momentum": (RMSprop, {"lr": falling, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.05}),
    "rmsprop-momentum-velocity": (
        RMSprop,
        {
            "lr": falling,
            "alpha": 0.9,
            "eps": 1e-2,
            "momentum": 0.8,
            "eps_placement": "inside",
            "momentum_form": "velocity",
        },
    ),
    "rmsprop-momentum-decoupled": (
        RMSprop,
        {
            "lr": 0.1,
            "alpha": 0.9,
            "momentum": 0.8,
            "weight_decay": 0.05,
            "decoupled_weight_decay": True,
            "maximize": True,
        },
    ),
    "rmsprop-centered-momentum": (RMSprop, {"lr": falling, "alpha": 0.9, "momentum": 0.8, "centered": True}),
    "rmsprop-centered-momentum-l2": (
        RMSprop,
        {"lr": 0.1, "alpha": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.05, "maximize": True},
    ),
    "rmsprop-centered-momentum-decoupled": (
        RMSprop,
        {
            "lr": 0.1,
            "alpha": 0.9,
            "momentum": 0.8,
            "centered": True,
            "weight_decay": 0.05,
            "decoupled_weight_decay": True,
        },
    ),
    "rmsprop-centered-momentum-velocity": (
        RMSprop,
        {
            "lr": falling,
            "alpha": 0.9,
            "eps": 1e-2,
            "momentum": 0.8,
            "centered": True,
            "eps_placement": "inside",
            "momentum_form": "velocity",
        },
    ),
    "adam": (Adam, {}),
    "adam-options": (Adam, {"lr": falling, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    "adam-uncorrected": (Adam, {"lr": falling, "eps": 1e-3, "eps_placement": "uncorrected"}),
    "adam-inside": (Adam, {"lr": falling, "eps": 1e-3, "eps_placement": "inside"}),
    "adam-short": (Adam, {"lr": 0.1, "bias_correction": False}),
    "adam-decoupled": (Adam, {"lr": falling, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    "amsgrad": (Adam, {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True, "weight_decay": 0.05}),
    "amsgrad-uncorrected": (
        Adam,
        {"lr": 0.1, "betas": (0.8, 0.6), "eps": 1e-3, "amsgrad": True, "eps_placement": "uncorrected"},
    ),
    "amsgrad-inside": (
        Adam,
        {"lr": 0.1, "betas": (0.8, 0.6), "eps": 1e-3, "amsgrad": True, "eps_placement": "inside"},
    ),
    "adamw": (AdamW, {}),
    "adamw-amsgrad": (AdamW, {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True, "maximize": True}),
    "lamb": (LAMB, {}),
    "lamb-options": (
        LAMB,
        {"lr": falling, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    ),
    "lamb-l2": (LAMB, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": False, "bias_correction": False}),
    "lars": (LARS, {}),
    "lars-options": (
        LARS,
        {"lr": falling, "momentum": 0.8, "weight_decay": 0.05, "trust_coefficient": 0.02, "maximize": True},
    ),
    "lion": (Lion, {}),
    "lion-options": (Lion, {"lr": falling, "betas": (0.8, 0.7), "weight_decay": 0.05, "maximize": True}),
    "lion-l2": (Lion, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": False}),
    "adan": (Adan, {}),
    "adan-options": (
        Adan,
        {"lr": falling, "betas": (0.8, 0.7, 0.6), "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    ),
    "adan-l2": (Adan, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": False}),
    "lars-decoupled": (LARS, {"lr": 2.0, "momentum": 0.0, "weight_decay": 0.05, "decoupled_weight_decay": True}),
}
