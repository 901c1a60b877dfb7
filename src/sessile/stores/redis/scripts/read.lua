#!lua flags=allow-oom
-- All rows that decisions on some sessions need, of one instant, from one slot.
--
-- KEYS[1]: the mark of the partition; it names the slot. ARGV[1]: the partition's tag. The rest: what is asked for:
-- t<digest of a token>, s<id of a session>, p<uid of a principal>.
-- Returns seconds, microseconds, mark, delta, everyone, and then each row's key and value (null: there is none).
--
-- Not declared `no-writes`: a replica then refuses it, so that no check is ever answered by one.
local tag = ARGV[1]
local time = redis.call('TIME')
local fixed = redis.call('MGET', KEYS[1], tag .. 'delta', tag .. 'everyone')
local out = {time[1], time[2], fixed[1], fixed[2], fixed[3]}
local seen = {}

local function row(key)
  local value = seen[key]
  if value == nil then
    value = redis.call('GET', key)
    seen[key] = value
    out[#out + 1] = key
    out[#out + 1] = value
  end
  return value
end

-- A principal and the policy in force for it, which the first line of its row names.
local function beside(uid)
  local policy = 'default'
  if uid ~= '-' then
    local principal = row(tag .. uid)
    if principal then
      policy = string.match(principal, '^[^\n]*')
    end
  end
  row(tag .. 'policy:' .. policy)
end

-- A session; the first line of its row names its principal, then its ancestors and theirs.
local function session(id)
  local found = row(tag .. id)
  if not found then
    return
  end
  local words = {}
  for word in string.gmatch(string.match(found, '^[^\n]*'), '%S+') do
    words[#words + 1] = word
  end
  beside(words[1])
  for place = 2, #words, 2 do
    row(tag .. words[place])
    beside(words[place + 1])
  end
end

for place = 2, #ARGV do
  local kind, name = string.sub(ARGV[place], 1, 1), string.sub(ARGV[place], 2)
  if kind == 't' then
    local id = row(tag .. 't' .. name)
    if id then
      session(id)
    end
  elseif kind == 's' then
    session(name)
  else
    beside(name)
  end
end
return out
