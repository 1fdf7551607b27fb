"""Transfer learning: small networks on the most important features of a trained one.

rows = transfer_curve(model, x_train, y_train, x_test, y_test, **transfer_settings("paper", ...))
"""

from asym_keras.transfer.curve import transfer_curve as transfer_curve
from asym_keras.transfer.curve import transfer_settings as transfer_settings
