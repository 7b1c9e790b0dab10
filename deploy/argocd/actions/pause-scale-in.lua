-- Up as needed, never down.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["penstock.dev/paused-scale-in"] = "true"
return obj
