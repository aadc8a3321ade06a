"""What a search will cost: sizes, operations, memory, time and disk."""

from evomerge.cost.devices import DEVICES, Device, find_device
from evomerge.cost.here import Taken, device_here
from evomerge.cost.resources import Machine, Resources, resource_lines, resources, this_machine
from evomerge.cost.stages import StageEstimate
from evomerge.cost.study import Donor, StudyEstimate, estimate_study
from evomerge.cost.table import as_json, as_text

__all__ = [
    "DEVICES",
    "Device",
    "Donor",
    "Machine",
    "Resources",
    "StageEstimate",
    "StudyEstimate",
    "Taken",
    "as_json",
    "as_text",
    "device_here",
    "estimate_study",
    "find_device",
    "resource_lines",
    "resources",
    "this_machine",
]
