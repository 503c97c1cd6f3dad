/** Does the work for each item, of `width` items at a time. The results are in the items' order; the first failure rejects. */
export async function inLanes<T, R>(width: number, items: Iterable<T>, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = [...items].entries();
  const lane = async () => {
    for (const [place, item] of waiting) results[place] = await work(item);
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}
