-- What may be done to a ScaledPipeline from Argo CD: the annotations of its owner, by a click.
local annotations = obj.metadata.annotations or {}
local paused = annotations["penstock.dev/paused"] == "true"
local at = annotations["penstock.dev/paused-replicas"]
local keeps = annotations["penstock.dev/paused-scale-in"] == "true"
local actions = {}
actions["pause"] = { ["disabled"] = paused or at ~= nil }
actions["pause-at"] = {
  ["disabled"] = paused,
  ["params"] = { { ["name"] = "replicas", ["default"] = at or "1" } },
}
actions["pause-scale-in"] = { ["disabled"] = paused or at ~= nil or keeps }
actions["resume"] = { ["disabled"] = not (paused or at ~= nil or keeps) }
return actions
