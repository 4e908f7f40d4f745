"""Settings as data: dataclasses each field of which is a flag, with its help and its bounds."""

import dataclasses

from absl import flags

from cgc_tf.common.errors import UserError

flags.disclaim_key_flags()  # flags belong to the module that defines them through this one

_LIMITS = {
    "above": ("above", lambda value, limit: value > limit),
    "least": ("at least", lambda value, limit: value >= limit),
    "below": ("below", lambda value, limit: value < limit),
    "most": ("at most", lambda value, limit: value <= limit),
}


# What it means that a setting is changed within a run, when that goes on from a checkpoint.
NEVER = "never"  # it decides what a checkpoint holds, or what its position counts: refused
WHILE_USED = "while used"  # a checkpoint holds what it needs only if it is used: another value, but not from or to 0
EFFECT = "effect"  # what is trained, or chosen, is another thing from there on
HARMLESS = "harmless"  # the same weights come of it, but for rounding


def setting(
    default, help_text, choices=None, above=None, least=None, below=None, most=None, items=None, on_change=EFFECT
):
    """A field with its flag's help and bounds; for a list the type of its items; what changing it in a run means."""
    bounds = {"choices": choices, "above": above, "least": least, "below": below, "most": most}
    metadata = {"help": help_text, "items": items, "on_change": on_change, **bounds}
    return dataclasses.field(default=default, metadata=metadata)


def check_bounds(settings):
    """Raises `UserError` for the first field of an instance that is out of its bounds; None is out of none."""
    for field in dataclasses.fields(settings):
        name, value, bounds = field.name, getattr(settings, field.name), field.metadata
        if bounds["choices"] and value is not None and value not in bounds["choices"]:
            raise UserError(f"--{name} should be one of {', '.join(bounds['choices'])}. Received: {value}")
        for key, (words, holds) in _LIMITS.items():
            if value is not None and bounds[key] is not None and not holds(value, bounds[key]):
                raise UserError(f"--{name} should be {words} {bounds[key]}. Received: {value}")
        if isinstance(value, float) and value == float("inf"):
            raise UserError(f"--{name} should be finite. Received: {value}")


def define_flags(cls):
    """Defines one absl flag for each field of a class of settings; only entry points call this."""
    kinds = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool}
    for field in dataclasses.fields(cls):
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, field.default, field.metadata["choices"], field.metadata["help"])
        elif field.metadata["items"]:
            flags.DEFINE_list(field.name, list(map(str, field.default)), field.metadata["help"])
        else:
            kinds[field.type](field.name, field.default, field.metadata["help"])


def refuse_unread(mode, read):
    """Raises `UserError` for a flag that was given, on the command line or in a --flagfile, and that no one reads.

    Args:
        mode: what the program is asked to do, as the user says it: "--table", say.
        read: the names of the flags that are read then.
    """
    for name in flags.FLAGS:
        is_general = flags.FLAGS.find_module_defining_flag(name).startswith("absl.")
        if flags.FLAGS[name].present and name not in read and not is_general:
            raise UserError(f"--{name} is not used by {mode}: leave it out")


def from_flags(cls, recorded=None):
    """An instance as the parsed flags have it; flags that were not given are as in `recorded`, another one."""
    values = dict(vars(recorded)) if recorded else {}
    for field in dataclasses.fields(cls):
        if recorded and not flags.FLAGS[field.name].present:
            continue
        value, kind = flags.FLAGS[field.name].value, field.metadata["items"]
        try:
            values[field.name] = tuple(map(kind, value)) if kind else value
        except ValueError:
            kind_name = {int: "whole numbers", float: "numbers"}[kind]
            raise UserError(f"--{field.name} should be {kind_name}. Received: {','.join(value)}") from None
    return cls(**values)
