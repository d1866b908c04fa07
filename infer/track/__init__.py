"""Multi-object tracking: boxes of one instant after another become objects with a past."""
