"""Live models and optimizers: filled from trees and checkpoints, and turned into Linen states."""
