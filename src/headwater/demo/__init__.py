"""The demo: the main job from the first copy to a reset, between two private database servers, through the front door.

`shop.py` is what is in the databases, `life.py` what changes it, `sides.py` how each kind of database is spoken to, `stage.py` the
servers and the service, `screen.py` how it looks, `story.py` what is told, `compare.py` the proof at the end.
"""

from headwater.demo.story import run

__all__ = ["run"]
