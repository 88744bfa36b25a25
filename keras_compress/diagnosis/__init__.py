"""From the symptom to the setting: which layers quantization hurts, why, and what change of the configuration mends it.

:mod:`~keras_compress.diagnosis.quantizer_evidence` looks at what every quantizer maps,
:mod:`~keras_compress.diagnosis.causes` draws the conclusion and lists remedies, :mod:`~keras_compress.diagnosis.diagnose`
tries them. To look for another cause, add it to ``causes``.
"""

from keras_compress.diagnosis.diagnose import diagnose
from keras_compress.diagnosis.diagnosis_report import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
