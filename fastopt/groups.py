"""Parameter groups and parameters' state, as their users see them."""

from collections.abc import Mapping, MutableMapping

from fastopt.engine import idle
from fastopt.options import nearest
from fastopt.stages import Stages


class ParamGroup(MutableMapping):
    """One parameter group: a mapping of its options, and of ``"params"`` to its arrays.

    Options may be set at any time and act at the next step. A value that is refused changes nothing, and `update`
    sets several options at once or none.
    """

    def __init__(self, rule, index, members, options, claim):
        self._rule = rule
        self._index = index
        self._members = members
        self._options = options
        self._claim = claim
        self._engine = None

    def _attach(self, engine):
        """From now on, changes of options go to this engine."""
        self._engine = engine

    @property
    def kernel_call(self):
        return self._rule.kernel_call(self._options)

    def __getitem__(self, key):
        return self._members[key] if key in self._members else self._options[key]

    def __iter__(self):
        yield from self._members
        yield from self._options

    def __len__(self):
        return len(self._members) + len(self._options)

    def __setitem__(self, key, value):
        self.update({key: value})

    def update(self, *args, **kwargs):
        changes = dict(*args, **kwargs)
        for key in changes:
            if key in self._members:
                raise ValueError(f"{key}: the parameters of a group cannot be replaced; use add_param_group")
        with idle(self._claim):
            old = self._options
            new = self._rule.checked({**old, **known(changes, old, self._rule)})
            if self._rule.state_arrays(new) != self._rule.state_arrays(old):
                raise ValueError(
                    f"{', '.join(changes)}: this would need other state arrays than the parameters have; "
                    f"make a new optimizer, or add a group"
                )
            self._assign(new)

    def _assign(self, options):
        """Take over options that have been checked. The optimizer must be claimed."""
        self._engine.set_kernel_call(self._index, self._rule.kernel_call(options))
        self._options = options

    def __delitem__(self, key):
        raise TypeError(f"{key}: an option cannot be removed from a group")

    def __repr__(self):
        return repr(dict(self))

    def __reduce__(self):
        # A copy of a group belongs to no optimizer, so it is a dict.
        return dict, (dict(self),)


class State(Mapping):
    """The state of one parameter: its ``"step"`` count, and its arrays by name. Write into the arrays to change it."""

    def __init__(self, parameter):
        self._parameter = parameter

    def __getitem__(self, key):
        return self._parameter.count(key) if key in self._parameter.count_names else self._parameter.state(key)

    def __iter__(self):
        yield from self._parameter.count_names
        yield from self._parameter.state_flats

    def __len__(self):
        return len(self._parameter.count_names) + len(self._parameter.state_flats)

    def __repr__(self):
        return repr(dict(self))

    def __reduce__(self):
        return dict, (dict(self),)


def known(given, options, rule):
    """The given options, if all of them are among a rule's; else an error that names the first that is not."""
    for name in given:
        if name not in options:
            stage = "; it is a stage, which is an option of the optimizer and the same for all its groups"
            hint = stage if name in Stages._fields else nearest(name, options)
            raise ValueError(f"{rule.__name__}: unknown option {name!r}{hint}")
    return given
