-- Health of a ScaledPipeline for Argo CD: what waits for a hand is Degraded, what its owner holds is Suspended. Being late is no fault of the
-- sync, so it is only said. deploy/render puts this into argocd-cm.yaml.
local status = obj.status or {}
if status.conditions == nil then
  return { status = "Progressing", message = "Penstock has not looked at it yet" }
end
local generation = obj.metadata and obj.metadata.generation
if status.observedGeneration and generation and status.observedGeneration ~= generation then
  return { status = "Progressing", message = "Penstock has not looked at generation " .. generation .. " yet" }
end
local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local rules = {
  { "Stalled", "True", "Degraded" },
  { "Ready", "False", "Degraded" },
  { "WriterConflict", "True", "Degraded" },
  { "Fallback", "True", "Degraded" },
  { "Paused", "True", "Suspended" },
  { "Reconciling", "True", "Progressing" },
  { "Ready", "Unknown", "Progressing" },
  { "ObjectiveMet", "False", "Healthy" },
  { "Ready", "True", "Healthy" },
}
for _, rule in ipairs(rules) do
  local condition = conditions[rule[1]]
  if condition and condition.status == rule[2] then
    return { status = rule[3], message = (condition.reason or rule[1]) .. ": " .. (condition.message or "") }
  end
end
return { status = "Progressing", message = "Penstock has not said whether it is ready" }
