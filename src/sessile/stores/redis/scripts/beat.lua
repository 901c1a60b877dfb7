#!lua flags=allow-cross-slot-keys
-- The ping: a write whose own invalidation has to arrive, and what each partition says of itself.
--
-- KEYS[1]: the beat, under the tracked prefix. ARGV[1]: the partitions' characters.
-- Returns mark and delta of each, in that order. Fails where a partition is not this server's.
redis.call('SET', KEYS[1], '')
redis.call('DEL', KEYS[1])
local out = {}
for place = 1, #ARGV[1] do
  local tag = '{s:' .. string.sub(ARGV[1], place, place) .. '}'
  out[#out + 1] = redis.call('GET', tag .. 'mark')
  out[#out + 1] = redis.call('GET', tag .. 'delta')
end
return out
