"""Ahead-of-time compiler from neural networks to fixed-point C for microcontrollers."""
