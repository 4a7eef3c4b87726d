"""`mfc check`: are the outputs still what their specs say? What it needs when nothing changed loads nothing heavy."""
