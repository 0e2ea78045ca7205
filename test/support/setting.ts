/** Reads a switch of the tests. */
export function testSetting(name: `TEST_${string}`): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}
