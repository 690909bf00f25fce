"""An account as a whole: settings put in force, paused and resumed, its connection tested."""
