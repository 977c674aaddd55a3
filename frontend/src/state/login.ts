/** Who sits here, and whether the server lets this browser in. */

import { signal } from '@preact/signals'
import { users } from '../api/client'
import type { User } from '../api/types'

export const me = signal<User | null>(null)
export const needsLogin = signal(false)

/** Ask the server who we are; throws what the request throws. */
export async function learnWhoIAm(): Promise<User> {
  const user = await users.me()
  me.value = user
  needsLogin.value = false
  return user
}
