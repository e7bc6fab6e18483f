"""Tasks: families of problems with checkable answers. `catalog` knows what a name stands for."""

from goldpanner.tasks.catalog import load
from goldpanner.tasks.column_addition import ColumnAddition, ColumnAdditionConfig
from goldpanner.tasks.files import read_problems
from goldpanner.tasks.world import World, WorldConfig

__all__ = ["ColumnAddition", "ColumnAdditionConfig", "World", "WorldConfig", "load", "read_problems"]
