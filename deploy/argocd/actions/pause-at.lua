-- Holds the replicas at a number, or at `parse=3,enrich=0` where there are several stages.
local replicas = actionParams and actionParams["replicas"]
if not replicas or replicas == "" then
  error("replicas are missing: a number, or STAGE=NUMBER for each stage", 0)
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["penstock.dev/paused-replicas"] = tostring(replicas)
return obj
