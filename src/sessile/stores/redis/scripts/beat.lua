#!lua flags=allow-cross-slot-keys,allow-oom
-- The ping: a write whose own invalidation has to arrive, and what each partition says of itself.
--
-- KEYS[1]: the beat, under a tracked prefix, in a partition of this server. ARGV[1]: the partitions' characters.
-- Returns mark and delta of each, in that order; where a partition is not this server's, the error and nothing.
redis.call('SET', KEYS[1], '')
redis.call('DEL', KEYS[1])
local out = {}
for place = 1, #ARGV[1] do
  local tag = '{s:' .. string.sub(ARGV[1], place, place) .. '}'
  local found = redis.pcall('MGET', tag .. 'mark', tag .. 'delta')
  if found.err then
    out[#out + 1] = '!' .. found.err
    out[#out + 1] = false
  else
    out[#out + 1] = found[1]
    out[#out + 1] = found[2]
  end
end
return out
