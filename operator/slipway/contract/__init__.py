"""What crosses the boundary between the operator and a pod: JobConfig in, Progress and Report out.

Only pydantic and the standard library: both sides import it, the job images without kopf, the operator
without torch.
"""
