"""Settings as data: dataclasses each field of which is a flag, with its default, its help and its bounds."""

import dataclasses
import operator
from typing import TYPE_CHECKING, Any, TypeVar

from absl import flags

from cgc_tf.common.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

flags.disclaim_key_flags()  # flags belong to the module that defines them through this one

Settings = TypeVar("Settings", bound="DataclassInstance")
LIMITS = {
    "above": ("above", operator.gt),
    "least": ("at least", operator.ge),
    "below": ("below", operator.lt),
    "most": ("at most", operator.le),
}

# What it means that a setting is changed within a run, when that goes on from a checkpoint.
NEVER = "never"  # it decides what a checkpoint holds, or what its position counts: refused
WHILE_USED = "while used"  # a checkpoint holds what it needs only if it is used: another value, but not from or to 0
EFFECT = "effect"  # what is trained, or chosen, is another thing from there on
HARMLESS = "harmless"  # the same weights come of it, but for rounding


def setting(
    default: Any,
    help_text: str,
    choices: tuple[str, ...] | None = None,
    items: type | None = None,
    on_change: str = EFFECT,
    section: str = "",
    **bounds: float,
) -> Any:
    """A field of a class of settings.

    Args:
        default: its value where none is given.
        help_text: what its flag's help says.
        choices: the values that it may have; of a list, those of its items, one of them at least and none twice.
        items: the type of a list's items; None for what is no list.
        on_change: what changing it within a run means.
        section: the heading in --help that begins with this field; "" where it stands under that of the one before.
        bounds: of a number, by the names in `LIMITS`.
    """
    metadata = {"help": help_text, "choices": choices, "items": items, "on_change": on_change, "section": section}
    return dataclasses.field(default=default, metadata={**metadata, "bounds": bounds})


def same_as(cls: type, name: str) -> Any:
    """A field with the default, help and bounds that a field of another class of settings has."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def check_bounds(settings: Any, prefix: str = "--") -> None:
    """Raises `UserError` for the first field of an instance that is out of its bounds; None is out of none.

    `prefix` stands before a field's name in the message: a flag's dashes, or nothing where it is an argument.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is not None and (rule := _broken_rule(value, field.metadata)):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"{prefix}{field.name} should be {rule}. Received: {shown}")


def _broken_rule(value, metadata):
    """The rule that a value breaks, in words; None where it breaks none."""
    choices = metadata["choices"]
    if choices and metadata["items"]:
        if not value or set(value) - set(choices) or len(set(value)) < len(value):
            return f"one or more of {', '.join(choices)}, each once"
    elif choices and value not in choices:
        return f"one of {', '.join(choices)}"
    for key, bound in metadata["bounds"].items():
        words, holds = LIMITS[key]
        if not holds(value, bound):
            return f"{words} {bound}"
    return "finite" if value == float("inf") else None


def define_flags(cls: type) -> None:
    """Defines one absl flag for each field of a class of settings; only entry points call this."""
    kinds = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_bool}
    heading = ""
    for field in dataclasses.fields(cls):
        default: Any = field.default
        if field.metadata["items"]:
            flags.DEFINE_list(field.name, list(map(str, default)), field.metadata["help"])
        elif field.metadata["choices"]:
            flags.DEFINE_enum(field.name, default, field.metadata["choices"], field.metadata["help"])
        else:
            kinds[field.type](field.name, default, field.metadata["help"])
        heading = field.metadata["section"] or heading
        if heading:
            flags.FLAGS.register_key_flag_for_module(heading, flags.FLAGS[field.name])


def refuse_unread(mode: str, read: set[str]) -> None:
    """Raises `UserError` for a flag that was given, on the command line or in a --flagfile, and that no one reads.

    Args:
        mode: what the program is asked to do, as the user says it: "--table", say.
        read: the names of the flags that are read then.
    """
    for name in flags.FLAGS:
        is_general = flags.FLAGS.find_module_defining_flag(name).startswith("absl.")
        if flags.FLAGS[name].present and name not in read and not is_general:
            raise UserError(f"--{name} is not used by {mode}: leave it out")


def from_flags(cls: type[Settings], recorded: Settings | None = None) -> Settings:
    """An instance as the parsed flags have it; flags that were not given are as in `recorded`, another one."""
    values = dict(vars(recorded)) if recorded else {}
    for field in dataclasses.fields(cls):
        flag, kind = flags.FLAGS[field.name], field.metadata["items"]
        if recorded and not flag.present:
            continue
        given = flags.FLAGS.get_flag_value(field.name, None)
        try:
            values[field.name] = tuple(map(kind, given)) if kind else given
        except ValueError:
            kind_name = {int: "whole numbers", float: "numbers"}[kind]
            raise UserError(f"--{field.name} should be {kind_name}. Received: {','.join(given)}") from None
    return cls(**values)
