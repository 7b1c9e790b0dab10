-- Penstock goes on deciding and writes nothing.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["penstock.dev/paused"] = "true"
return obj
