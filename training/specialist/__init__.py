"""How the shipped specialist came to be: data, training, calibration, export."""
