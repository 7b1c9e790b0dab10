-- Takes every pause back.
local annotations = obj.metadata.annotations or {}
for _, word in ipairs({ "paused", "paused-replicas", "paused-scale-in", "paused-scale-out" }) do
  annotations["penstock.dev/" .. word] = nil
end
return obj
