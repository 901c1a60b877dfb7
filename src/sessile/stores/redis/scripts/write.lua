#!lua
-- Change rows of one partition, all or nothing, if what the change was decided on is as it was. Validates first and
-- writes last: what a script has written stays, even if it fails afterwards.
--
-- KEYS[1]: the mark of the partition; it names the slot. ARGV[1]: MessagePack of the array unpacked below.
-- Returns 'ok', seconds, microseconds, delta; or why nothing was changed: 'mark' with the mark in force, 'changed',
-- 'late'.
local tag, late, before, after, rows, indexes, sets, adds, expiries, removals, deletions, announcements, guard =
  unpack(cmsgpack.unpack(ARGV[1]))
local time = redis.call('TIME')

local mark = redis.call('GET', KEYS[1])
if before and mark ~= before then
  return {'mark', mark}
end
if late and tonumber(time[1]) * 1000000 + tonumber(time[2]) >= late then
  return {'late'}
end
for _, row in ipairs(rows) do
  if redis.call('GET', row[1]) ~= row[2] then
    return {'changed'}
  end
end
for _, index in ipairs(indexes) do
  if table.concat(redis.call('ZRANGE', index[1], 0, -1), ' ') ~= index[2] then
    return {'changed'}
  end
end

-- A key that is not there cannot be written while its slot is on its way to another server: it fails here, before
-- anything was changed.
if guard then
  redis.call('SET', guard, '')
  redis.call('DEL', guard)
end

-- At least so long, never shorter.
local function expire(key, milliseconds)
  if redis.call('PTTL', key) < milliseconds then
    redis.call('PEXPIRE', key, milliseconds)
  end
end

for _, set in ipairs(sets) do
  if set[3] == 0 then
    redis.call('SET', set[1], set[2])
  elseif set[3] < 0 then
    redis.call('SET', set[1], set[2], 'KEEPTTL')
  else
    redis.call('SET', set[1], set[2], 'PX', set[3])
  end
end
for _, add in ipairs(adds) do
  redis.call('ZADD', add[1], add[2], add[3])
  if add[4] > 0 then
    expire(add[1], add[4])
  end
end
for _, expiry in ipairs(expiries) do
  expire(expiry[1], expiry[2])
end
for _, removal in ipairs(removals) do
  redis.call('ZREM', removal[1], removal[2])
end
for _, key in ipairs(deletions) do
  redis.call('DEL', key)
end
if after then
  redis.call('SET', KEYS[1], after)
end
for _, key in ipairs(announcements) do
  -- Nobody reads it: that it was written is what those who follow are told, by its name.
  redis.call('SET', key, '')
  redis.call('DEL', key)
end
return {'ok', time[1], time[2], redis.call('GET', tag .. 'delta')}
