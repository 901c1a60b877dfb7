#!lua
-- Drop keys of a partition that has lost its mark, and only of such a one: nothing in it can be believed.
--
-- KEYS[1]: the mark. ARGV: the keys. Returns how many are gone; -1: somebody has begun the partition anew.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return -1
end
local gone = 0
for _, key in ipairs(ARGV) do
  gone = gone + redis.call('UNLINK', key)
end
return gone
