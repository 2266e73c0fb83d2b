"""The audit: does every router get the gradients it should?

    watch ─one micro-step→ what arrived ─faults→ refusal │ result ─words→ lines

It watches the first micro-step of training itself, so it changes nothing and costs next to nothing, whatever shards
the model; and it speaks before the first optimizer step.
"""

from dpsl.audit.faults import AuditError
from dpsl.audit.watch import Audit
from dpsl.audit.words import audit_lines

__all__ = ["Audit", "AuditError", "audit_lines"]
